"""Networks that hide their gradient on purpose: what diagnostics of attacks must find."""

__all__: list[str] = []
