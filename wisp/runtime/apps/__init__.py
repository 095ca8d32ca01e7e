"""App files inside the sandbox: routing, typed parameters, answers, the document of the interface."""
