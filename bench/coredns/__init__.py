"""What evidence costs CoreDNS: each level, with its receiver well and ill."""
