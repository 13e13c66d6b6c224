"""Every resolution kept as rows in Parquet files, and the questions asked of them."""
