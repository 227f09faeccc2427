"""What a Config should cost before it is measured: analytic bound and draft, learned residual."""
