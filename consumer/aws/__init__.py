"""The only package that imports boto3. Its exceptions and the shapes of its replies end here."""
