"""The only rooms that know boto3. Its exceptions and its shapes end here."""
