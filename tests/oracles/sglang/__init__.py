"""SGLang's own code beside the product: architectures.py and facts.py run in SGLang's environment, compare.py here."""
