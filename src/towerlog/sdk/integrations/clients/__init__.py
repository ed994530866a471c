"""The clients of OpenAI and Anthropic: `towerlog.wrap(client)`."""
