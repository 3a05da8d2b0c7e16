"""A counting job as a team would write it: laid into a copy of our source tree by the tests."""
