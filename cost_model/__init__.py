"""The expected cost of a Config before it is measured: analytic bound and draft, learned residual."""
