"""The votes in the verdict: who competes, what people prefer, which metrics agree with them. Pure."""
