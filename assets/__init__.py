"""What ships: small models in models/, finished studies in studies/."""
