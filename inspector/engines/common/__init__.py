"""What the engines share: the facts they serve a model from, its weights on a rank, their logs."""
