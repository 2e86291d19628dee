"use strict";
// Nothing in the page's address changes what is shown: it could name somebody else's document.
SwaggerUIBundle({
	dom_id: "#docs",
	url: "openapi.yaml",
	queryConfigEnabled: false,
	validatorUrl: null,
	deepLinking: true,
	docExpansion: "none",
	defaultModelsExpandDepth: 0,
	displayRequestDuration: true,
	tryItOutEnabled: true,
});
