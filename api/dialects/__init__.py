"""The other contracts that clients already speak, each a thin translation of the same use cases."""
