"""How each of the pocket models is trained."""
