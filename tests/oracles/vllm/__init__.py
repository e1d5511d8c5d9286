"""vLLM's own code beside the product: configs.py and facts.py run in vLLM's environment, compare.py in this one."""
