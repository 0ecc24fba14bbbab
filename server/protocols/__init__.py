"""Translations between a wire format and a conversation; no rule of a conversation lives here."""
