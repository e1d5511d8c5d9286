"""PyTorch's archives: names, dtypes and shapes; nothing is unpickled."""
