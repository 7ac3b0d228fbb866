// Shows the server's own OpenAPI schema. The validator of Swagger's makers is not asked.

window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", validatorUrl: null, deepLinking: true });
