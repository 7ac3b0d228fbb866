"""Where the answer of a reply is found, and that nothing is found where there is none."""

import pytest

from evalsuite.checker import extract

FOUND = [
    ("So $x=3$. The answer is 7. \\boxed{5}", "5"),
    ("\\boxed{5}. The answer is 7.", "5"),
    ("\\boxed{3} ... wait, actually \\boxed{4}", "4"),
    ("x = \\boxed{3}, y = \\boxed{4}", "3, 4"),
    ("$\\boxed{3}$ and $\\boxed{4}$", "3, 4"),
    ("\\boxed{-2} \\quad \\text{and} \\quad \\boxed{1}", "-2, 1"),
    ("\\boxed{1}\\boxed{2}", "1, 2"),
    ("\\boxed{7} so the result is \\boxed{7}", "7"),
    ("First \\boxed{3} is the length of it. Then later we compute the area: \\boxed{4}", "4"),
    ("\\boxed{\\text{Tuesday}}", "\\text{Tuesday}"),
    ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("\\boxed{\\frac{1}{2}", "\\frac{1}{2}"),
    ("\\boxed{12", "12"),
    ("\\boxed 5", "5"),
    ("\\boxed{28} percent", "28\\%"),
    ("$\\boxed{28}\\%$", "28\\%"),
    ("\\fbox{9}", "9"),
    ("#### 42", "42"),
    ("blah 3\n#### 1,234", "1,234"),
    ("Answer: 42", "42"),
    ("**Answer:** 42", "42"),
    ("ANSWER: B", "B"),
    ("### Answer\n\n42", "42"),
    ("**Final Answer**\n\n42", "42"),
    ("The answer is 42.", "42"),
    ("The answer is 3.14.", "3.14"),
    ("The answer is: **42**", "42"),
    ("the answer is $\\frac{1}{2}$.", "\\frac{1}{2}"),
    ("Therefore, the answer is \\(\\frac{3}{4}\\).", "\\frac{3}{4}"),
    ("The answer is\n\n\\[ 42 \\]", "42"),
    ("The correct answer is (C).", "(C)"),
    ("The answer is (B) 42.", "(B) 42"),
    ("The answer is \\$18.", "\\$18"),
    ("The answer is 5 because 2+3=5.", "5"),
    ("So the solutions are $x=1$ and $x=2$, so the answer is $1, 2$.", "1, 2"),
    ("Final Answer: The final answer is $x^2$. I hope it is correct.", "x^2"),
    ("Final Answer: The largest $n$ is 34.", "34"),
    ("<think>maybe \\boxed{3}</think>The answer is \\boxed{4}.", "4"),
    ("<think>maybe \\boxed{3}</think>", "3"),
    ("Thus, there are $12$ ways.", "12"),
    ("She makes $18 every day.", "$18"),
    ("Hence the value of the expression is 3.5.", "3.5"),
    ("The correct choice is **B**", "B"),
    ("I choose (C) because the others fail.", "(C)"),
    ("```\n7\n```", "7"),
    ("<answer> x < 7 </answer>", "x < 7"),
    ("42", "42"),
    ("  x = 5 ", "x = 5"),
    ("\\frac{1}{2}", "\\frac{1}{2}"),
]


@pytest.mark.parametrize(("reply", "answer"), FOUND)
def test_found(reply: str, answer: str) -> None:
    assert extract(reply) == answer


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   ",
        "\n",
        "I don't know.",
        "I cannot determine this.",
        "\\boxed{}",
        "####",
        "The answer is",
        "Answer:",
        "Let me think about this. We have several options",
    ],
)
def test_no_answer(reply: str) -> None:
    assert extract(reply) is None


def test_only_the_end_of_a_long_reply_is_searched() -> None:
    assert extract("\\boxed{1} " + "word " * 100_000) is None
    assert extract("word " * 100_000 + "\\boxed{1}") == "1"


def test_an_extracted_answer_extracts_to_itself() -> None:
    for _, answer in FOUND:
        if "," not in answer:
            assert extract(answer) == answer
