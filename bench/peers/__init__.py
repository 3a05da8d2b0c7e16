"""What people would write instead, for comparison."""
