"""What travels over HTTP, as pydantic models. They know shapes and types; ranges are checked by
`engine.validation`, and fields of later versions are refused by `later_fields`."""
