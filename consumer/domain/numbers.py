"""Exact decimals: what a DynamoDB number can hold, and sums of such numbers."""

from decimal import Context, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from typing import Final

EXACT: Final = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal, Underflow])
"""DynamoDB's numbers: 38 significant digits, 1e-130 to 9.99e125. What does not fit raises, and is never rounded.

Source: Amazon DynamoDB Developer Guide, "Supported data types", Number.
"""

WIDE: Final = Context(prec=400)
"""Enough digits for the exact sum of any numbers that DynamoDB can hold."""
