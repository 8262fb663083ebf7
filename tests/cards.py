"""Whole cards, as small as they can be, for tests that make artifacts by hand."""

SHA = "a" * 64
COMMON = {
    "data": {"fingerprint": "f" * 64, "attribution": "", "pictures": 1, "earlier": [],
             "validated_on": "val", "transform": {"profiles": "convert"}},
    "pictures_seen": 1000, "complete": True, "metrics": {"val_loss": 0.5},
    "ema": {"kind": "power", "sigma_rel": 0.05}, "parents": {},
}  # fmt: skip
UNET = {
    "kind": "unet",
    "patch": 1, "widths": [8], "blocks": [1], "depths": [0], "middle_depth": 0, "heads": 2,
    "groups": 2, "modulation": "add", "gate": "silu", "text_width": None, "dropout": 0.0,
    "channels": 3, "text_dim": None, "pooled_dim": None, "images": {}, "levels": [],
    "residual": None, "outputs": 1,
}  # fmt: skip
TEXT = {"kind": "none", "name": "none", "sha256": "", "tokenizer": None,
        "config": {"kind": "none"}, "dim": 0, "pooled_dim": 0}  # fmt: skip
FLOW = {"kind": "flow", "prediction": "flow", "c_noise": "flow_time", "shift": 1.0}

VAE = COMMON | {
    "role": "autoencoder", "kind": "kl", "resolution": 8, "factor": 2,
    "network": {"patch": 2, "widths": [8], "encoder_blocks": 1, "decoder_blocks": 1,
                "middle": False, "latent_channels": 2, "groups": 2},
    "latent": {"channels": 2, "whitening": {"mean": [0.0, 0.0], "std": [1.0, 1.0]}},
    "space_id": SHA, "consumes": "pictures", "produces": "latents",
}  # fmt: skip
PREDICTOR = COMMON | {
    "role": "generator", "kind": "diffusion", "resolution": 8, "network": UNET,
    "latent": {"channels": 3, "size": 8}, "space_id": "pixels", "consumes": "captions",
    "produces": "pictures", "noise": FLOW, "text": TEXT,
}  # fmt: skip
UPSAMPLER = COMMON | {
    "role": "upsampler", "kind": "diffusion", "resolution": 16, "factor": 2,
    "network": UNET | {"images": {"low_res": 3}, "levels": ["low_res_level"]},
    "augmentation": 0.3, "sample_augmentation": 0.1, "consumes": "pictures",
    "produces": "pictures", "noise": FLOW, "text": TEXT,
}  # fmt: skip


def of_pixels(size):
    """What a generator of pixels reads of its card."""
    latent = {"channels": 3, "size": size}
    return {"resolution": size, "latent": latent, "space_id": "pixels", "sha256": "",
            "pictures_seen": 0}  # fmt: skip
