"""The chat server's page: a Gradio app that speaks to it over HTTP and keeps nothing itself."""
