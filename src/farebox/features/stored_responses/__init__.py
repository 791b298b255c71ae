"""Stored responses: `store` and `previous_response_id` of OpenAI Responses, kept here and never at a provider."""
