//! Hints are safe.
