"""Cases as data: contestants, the judge of their outputs, and the ratios that are hoped for."""
