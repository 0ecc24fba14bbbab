"""Holds conversations: microphone bytes in, events and answer audio out."""
