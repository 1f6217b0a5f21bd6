"""Writes tests/golden/images/: small pictures in many forms, what Pillow reads of them, and what torchvision's transforms make of them.

classes/{cat,dog}/ is a folder of classes; NAME.npy beside a picture holds `convert("RGB")` (or "L" for grey ones) as [channels, height,
width]; transformed.npz what Resize, CenterCrop, ToTensor and Normalize give. About 100 KB.

Pillow 13 sometimes treats the columns before the rows, which changes some bytes by one; those before it never did.

Versions: torchvision 0.29.2, Pillow 12.3.0, torch 2.13.0, numpy 2.3.5, Python 3.11. Command, from the repository's root, in an environment
that has them:

    python tests/golden/images.py
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import transforms as T

HERE = Path(__file__).resolve().parent / "images"


def scene(height, width, seed):
    """Smooth colours, a sharp edge and some noise, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = [128 + 90 * np.sin(x / (3 + c) + c) + 30 * np.cos(y / (5 - c)) for c in range(3)]
    image = np.stack(smooth, -1) + rng.normal(0, 6, (height, width, 3))
    image[height // 3 : height // 2, width // 4 : width // 2] = [250, 10, 40]
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def keep(image, name, **options):
    path = HERE / name
    image.save(path, **options)
    read = Image.open(path)
    grey = read.mode in ("L", "LA", "1")
    if read.mode.startswith("I"):  # 16 bits: the upper eight, where Pillow itself would cut at 255
        pixels = (np.array(read).astype(np.uint32) >> 8).astype(np.uint8)[None]
    else:
        pixels = np.array(read.convert("L" if grey else "RGB"))
        pixels = pixels[None] if grey else pixels.transpose(2, 0, 1)
    np.save(path.with_suffix(path.suffix + ".npy"), np.ascontiguousarray(pixels))


def main():
    HERE.mkdir(exist_ok=True)
    photo = scene(23, 31, 0)
    rgba = photo.convert("RGBA")
    rgba.putalpha(photo.convert("L"))
    keep(photo, "rgb.png")
    keep(rgba, "rgba.png")
    keep(rgba.convert("LA"), "la.png")
    keep(photo.convert("L"), "l.png")
    keep(photo.convert("1"), "1.png", bits=1)
    keep(photo.quantize(13), "palette.png")
    keep(photo.quantize(13), "palette-transparent.png", transparency=3)
    keep(photo, "transparent.png", transparency=(250, 10, 40))
    keep(Image.fromarray((np.array(photo.convert("L")).astype(np.uint16) * 257)), "16.png")
    keep(photo, "444.jpg", quality=90, subsampling=0)
    keep(photo, "420.jpg", quality=90, subsampling=2)
    keep(photo, "422.jpg", quality=75, subsampling=1)
    keep(photo, "progressive.jpg", quality=85, subsampling=0, progressive=True)
    keep(photo.convert("L"), "grey.jpg", quality=90)
    photo.convert("CMYK").save(HERE / "cmyk.jpg")
    photo.save(HERE / "picture.gif")

    made = {}
    for name, size in [("smaller", 9), ("larger", 40), ("same", 23), ("one", 1)]:
        made[name] = np.array(T.Resize(size)(photo))
    for name, size in [("squeezed", (5, 60)), ("stretched", (61, 7)), ("rows", (11, 31)), ("columns", (23, 12))]:
        made[name] = np.array(T.Resize(size)(photo))
    tall = scene(40, 17, 1)
    made["tall"] = np.array(T.Resize(12)(tall))
    tall.save(HERE / "tall.png")
    for name, size in [("crop", (10, 10)), ("odd", (8, 7)), ("whole", (23, 31))]:
        made[name] = np.array(T.CenterCrop(size)(photo))
    made["l"] = np.array(photo.convert("L"))[..., None]
    made = {name: np.ascontiguousarray(pixels) for name, pixels in made.items()}

    classes = {"cat": ["b.png", "a.jpg", "deep/c.PNG"], "dog": ["1.jpeg", "2.png"]}
    whole = T.Compose([T.Resize(14), T.CenterCrop(12), T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    grey = T.Compose([T.Grayscale(), T.Resize((6, 9)), T.ToTensor(), T.Normalize(0.5, 0.25)])
    inputs = {}
    for i, (folder, files) in enumerate(classes.items()):
        for j, file in enumerate(files):
            path = HERE / "classes" / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            image = scene(20 + 3 * i, 18 + 4 * j, 10 * i + j)
            # Without chroma subsampling: decoders may differ in how they interpolate that.
            image.save(path, **({} if path.suffix.lower() == ".png" else {"quality": 92, "subsampling": 0}))
            inputs[f"{folder}/{file}"] = Image.open(path).convert("RGB")
    order = sorted(inputs)
    made["folder"] = np.stack([whole(inputs[name]).numpy() for name in order])
    made["folder-grey"] = np.stack([grey(inputs[name]).numpy() for name in order])
    np.savez_compressed(HERE / "transformed.npz", **made)
    print(order, sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()), "bytes")


if __name__ == "__main__":
    main()
