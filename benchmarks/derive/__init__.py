"""From rows to ratios, exponents and tables: pure functions, which neither measure nor draw."""
