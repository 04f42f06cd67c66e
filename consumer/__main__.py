"""`python -m consumer` is the same as the console script `consumer`."""

from consumer.cli import main

if __name__ == "__main__":
    main()
