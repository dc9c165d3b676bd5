"""No domain: small tools that know nothing of ours."""
