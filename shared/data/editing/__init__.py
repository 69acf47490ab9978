"""Captions changed by people and programs, with every change kept so that it can be undone."""
