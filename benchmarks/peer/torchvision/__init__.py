"""A stand-in for torchvision, of which no build for processors alone fits our torch.

It has what diffusers' `train_text_to_image_lora.py` takes from it to read pictures, and nothing else.
"""
