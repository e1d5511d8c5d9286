"""transformers' classes built without torch: see torch.py."""
