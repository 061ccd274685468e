"""Makes arrays.npz, arrays-compressed.npz and arrays-grey.npz next to it: images as samplers save them with NumPy.

Made with numpy 2.4.6. Run it in this folder.
"""
import numpy as np

# Value 100 n + 10 y + x + 50 c (modulo 256) in image n, row y, column x, channel c.
n, y, x, c = np.indices((3, 2, 4, 3))
images = ((100 * n + 10 * y + x + 50 * c) % 256).astype(np.uint8)
labels = np.array([2, -1, 0])
np.savez("arrays.npz", images=images, labels=labels)
np.savez_compressed("arrays-compressed.npz", images=images, labels=labels)
np.savez("arrays-grey.npz", images=images[..., 0])
