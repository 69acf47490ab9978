"""How far a picture is from what was to be learnt; profiles weigh them."""
