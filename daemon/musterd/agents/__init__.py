"""One module an agent: how it is recognised, read, ended and resumed."""
