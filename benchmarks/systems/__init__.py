"""What is compared: our engines, the paper's code, other libraries, and their tasks."""
