"""Which numbers are the genuine ImageNet weights, without classifier (`include_top=False`)."""

WEIGHTS_SHA256 = {
    "resnet50": "0bc980a428a36f420900bb40cf356286902c7c909755c5deef65ccacf39cf9fb",
    "vgg16": "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd",
    "efficientnet_lite0": "c0bee34e755e1058b86ce5bfa5da52d460e7423c4c44248b41979f923791ab61",
}
"""SHA-256 over all tensors in the order of Keras' `get_weights`, as little-endian float32."""
