"""A Florence-2, a BLIP and a tagger with random weights, as small as can be, in the files that transformers writes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BartConfig,
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

WORDS = ("a", "red", "blue", "dress", "shirt", "on", "white", "ground", "Describe", "picture")
TAGS = ("general", "red_dress", "studio", "^_^", "hat")
"""Of the tagger: it is sure of the first four, in this order."""


def write_blip(folder: Path) -> Path:
    """The folder, with a model and its processor."""
    torch.manual_seed(1)
    folder.mkdir(parents=True)
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str.lower, WORDS))
    tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)})
    BlipProcessor(BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **sizes, "vocab_size": len(tokenizer), "encoder_hidden_size": 16, "max_position_embeddings": 64,
        "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "projection_dim": 16,
    }  # fmt: skip
    vision = {**sizes, "image_size": 32, "patch_size": 16, "projection_dim": 16}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        model.text_decoder.cls.predictions.decoder.bias[5:] += 2.0  # it speaks
    model.save_pretrained(folder)
    return folder


def write_florence(folder: Path) -> Path:
    """The folder, with a model and its processor."""
    torch.manual_seed(1)
    specials = ("<s>", "<pad>", "</s>", "<unk>", "<image>")
    words = {word: number for number, word in enumerate((*specials, *WORDS))}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    pictures = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
    pictures.image_seq_length = 5  # 2 × 2 places and their mean
    Florence2Processor(
        image_processor=pictures, tokenizer=tokenizer, post_processor_config={"pure_text": {}}
    ).save_pretrained(folder)
    vision = {
        "depths": (1, 1, 1, 1), "embed_dim": (8, 8, 8, 8), "num_heads": (2, 2, 2, 2), "num_groups": (2, 2, 2, 2),
        "window_size": 2, "projection_dim": 16, "drop_path_rate": 0.0,
    }  # fmt: skip
    text = BartConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=300,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=words["<image>"])
    Florence2ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def write_tagger(folder: Path) -> Path:
    """The folder, with a classifier that is sure of all tags but the last, whatever it sees."""
    torch.manual_seed(1)
    config = ViTConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16,
        id2label=dict(enumerate(TAGS)), label2id={tag: number for number, tag in enumerate(TAGS)},
        problem_type="multi_label_classification",
    )  # fmt: skip
    model = ViTForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0, -2.0]))
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder
