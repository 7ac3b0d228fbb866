#!/usr/bin/env bash
# Runs the image's own command as its own user and asks it each kind of thing once. As root with buildah in chroot isolation: no engine.
#
# TAG   the image's name (redraft:cpu)
# PORT  where it listens meanwhile (18000)
set -euo pipefail
TAG=${TAG:-redraft:cpu}
PORT=${PORT:-18000}
KEY=rd-only-for-this-trial
PROBLEM='Tom has 3 apples and buys 4 more. How many apples does he have?'

container=$(buildah from "$TAG")
root=$(buildah mount "$container")
volume=$(mktemp -d)
end() {
    if [ -s "$volume/pid" ]; then kill -TERM "$(< "$volume/pid")" 2> /dev/null || true; fi
    wait
    buildah rm "$container" > /dev/null
    rm -rf "$volume"
}
trap end EXIT

user=$(buildah inspect --type image --format '{{.Docker.Config.User}}' "$TAG")
mapfile -t command < <(buildah inspect --type image --format '{{range .Docker.Config.Entrypoint}}{{println .}}{{end}}' "$TAG" | sed '/^$/d')
mapfile -t -O "${#command[@]}" command < <(buildah inspect --type image --format '{{range .Docker.Config.Cmd}}{{println .}}{{end}}' "$TAG" | sed '/^$/d')
mapfile -t probe < <(buildah inspect --type image --format '{{range .Docker.Config.Healthcheck.Test}}{{println .}}{{end}}' "$TAG" | sed '/^$/d')
touch "$volume/started"
chown "$user" "$volume"

run() {
    buildah run --isolation chroot --user "$user" --volume "$volume:/var/lib/redraft" \
        --env REDRAFT_PORT="$PORT" --env REDRAFT_SERVER="http://127.0.0.1:$PORT" --env REDRAFT_API_KEY="$KEY" "$container" -- "$@"
}
post() {
    curl --fail --silent --show-error "http://127.0.0.1:$PORT$1" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' -d "$2"
    echo
}

echo "== without a key it does not listen to others"
if run env -u REDRAFT_API_KEY "${command[@]}"; then exit 1; fi

echo "== ${command[*]} as $user, on an empty volume"
# In this isolation process ids are the machine's.
run sh -c 'echo $$ > pid && exec "$@"' sh "${command[@]}" &
server=$!
until run "${probe[@]:1}" 2> /dev/null; do
    kill -0 "$server"
    sleep 2
done
echo "== healthy after $SECONDS s"
run redraft solve --drafts 2 --max-tokens 128 "$PROBLEM"
run redraft critique --problem "$PROBLEM" --response 'The answer is \boxed{8}.' --max-tokens 48
post /solve '{"problem": "What is 12 times 3?", "loop": {"drafts": 2, "response_tokens": 64}}' | cut -c -300
post /critique '{"problem": "What is 12 times 3?", "response": "\\boxed{36}", "max_tokens": 48}' | cut -c -300
post /v1/chat/completions '{"model": "SmolLM2-135M-Instruct", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 16}' | cut -c -300
curl --fail --silent "http://127.0.0.1:$PORT/" | grep -o '<title>.*</title>'

echo "== SIGTERM"
kill -TERM "$(< "$volume/pid")"
wait "$server"
rm "$volume/pid"
echo "== ended with 0; processes left, and files written outside the volume and the temporary folder:"
left=$(pgrep -u "${user%%:*}" -a || true)$(find "$root" -xdev -newer "$volume/started" -type f -not -path "$root/tmp/*" -print)
echo "${left:-none}"
[ -z "$left" ]
