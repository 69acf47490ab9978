"""What a run on a base model needs: memory, settings, tokens; told without torch, before anything is loaded."""
