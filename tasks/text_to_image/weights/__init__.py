"""How a frozen denoiser's weights are held while it trains or draws: in fewer bits, or partly in the host's memory."""
