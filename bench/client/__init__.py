"""What an instrumented lookup costs its caller and its process, beside other instrumentations."""
