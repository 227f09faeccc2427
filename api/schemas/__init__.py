"""The bodies of requests and answers: pydantic models, each with an example."""
