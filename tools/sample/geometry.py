"""Shapes from numbers: surfaces of revolution, tubes, ellipsoids, boxes, leaves, fur, text.

Lengths are metres, angles radians. Every function that returns an object has linked it to the
scene at the origin; vertices are float64 `[n, 3]`.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

Points = np.ndarray
Parts = list[bpy.types.Object]


def mesh(name: str, vertices, faces, material, *, smooth: bool = True) -> bpy.types.Object:
    """An object from vertices `[n, 3]` and faces (index tuples)."""
    data = bpy.data.meshes.new(name)
    data.from_pydata(np.asarray(vertices, float).tolist(), [], [tuple(map(int, f)) for f in faces])
    data.update()
    bm = bmesh.new()
    bm.from_mesh(data)
    bmesh.ops.recalc_face_normals(bm, faces=bm.faces)
    bm.to_mesh(data)
    bm.free()
    data.polygons.foreach_set("use_smooth", [smooth] * len(data.polygons))
    data.materials.append(material)
    result = bpy.data.objects.new(name, data)
    bpy.context.collection.objects.link(result)
    return result


def spline(points, count: int) -> Points:
    """Catmull-Rom curve through control points `[k, d]`, sampled at `count` places `[count, d]`."""
    p = np.asarray(points, float)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    i, u = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))


def grid_faces(rows: int, columns: int, *, wrap: bool) -> list[tuple[int, int, int, int]]:
    """Quads over a row-major vertex grid; `wrap` joins the last column to the first."""
    return [
        (r * columns + c, r * columns + d, (r + 1) * columns + d, (r + 1) * columns + c)
        for r in range(rows - 1)
        for c in range(columns if wrap else columns - 1)
        for d in [(c + 1) % columns]
    ]


def lathe(name, profile, material, *, segments: int = 64, samples: int = 0, lobes=None):
    """Surface of revolution about z from a profile of (radius, z).

    `samples` > 0 first smooths the profile; `lobes(angle, z)` scales the radius.
    """
    profile = spline(profile, samples) if samples else np.asarray(profile, float)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    radius = np.maximum(profile[:, :1], 1e-5) * np.ones(segments)
    z = profile[:, 1:] * np.ones(segments)
    if lobes:
        radius = radius * lobes(angle[None, :], z)
    vertices = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1).reshape(-1, 3)
    return mesh(name, vertices, grid_faces(len(profile), segments, wrap=True), material)


def tube(name, path, radii, material, *, sides: int = 16, shape=None):
    """A tube along `path [n, 3]` with radii (one or `[n]`), closed by flat ends.

    `shape [sides]` multiplies the radius round the section.
    """
    path = np.asarray(path, float)
    radii = np.broadcast_to(np.asarray(radii, float), len(path))
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    normal = np.cross(tangent[0], [0, 0, 1.0] if abs(tangent[0][2]) < 0.9 else [1.0, 0, 0])
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    section = np.ones(sides) if shape is None else np.asarray(shape, float)
    rings = []
    for centre, direction, radius in zip(path, tangent, radii, strict=True):
        normal = normal - direction * (normal @ direction)
        normal /= np.linalg.norm(normal)
        binormal = np.cross(direction, normal)
        circle = np.cos(angle)[:, None] * normal + np.sin(angle)[:, None] * binormal
        rings.append(centre + radius * section[:, None] * circle)
    faces = grid_faces(len(path), sides, wrap=True)
    last = (len(path) - 1) * sides
    faces += [tuple(range(sides)), tuple(range(last, last + sides))]
    return mesh(name, np.concatenate(rings), faces, material)


def ellipsoid(name, centre, radii, material, *, turn=None, segments: int = 48):
    """An ellipsoid; `turn [3, 3]` rotates it about its centre."""
    vertices = sphere_points(segments) * np.asarray(radii, float)
    if turn is not None:
        vertices = vertices @ np.asarray(turn).T
    faces = grid_faces(segments // 2 + 1, segments, wrap=True)
    return mesh(name, vertices + np.asarray(centre, float), faces, material)


def sphere_points(segments: int) -> Points:
    """Unit sphere as a grid of `segments // 2 + 1` rows and `segments` columns, flattened."""
    polar = np.linspace(1e-4, np.pi - 1e-4, segments // 2 + 1)[:, None]
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)[None, :]
    z = np.cos(polar) * np.ones_like(angle)
    return np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), z], -1).reshape(
        -1, 3
    )


def box(name, size, centre, material, *, bevel: float = 0.0, turn=None):
    """A box of `size` about `centre`, its edges rounded by `bevel`."""
    bm = bmesh.new()
    bmesh.ops.create_cube(bm, size=1.0)
    for vertex in bm.verts:
        vertex.co = [c * s for c, s in zip(vertex.co, size, strict=True)]
    if bevel:
        bmesh.ops.bevel(bm, geom=bm.edges[:], offset=bevel, segments=3, profile=0.5, affect="EDGES")
    data = bpy.data.meshes.new(name)
    bm.to_mesh(data)
    bm.free()
    result = bpy.data.objects.new(name, data)
    data.materials.append(material)
    transform(result, np.eye(3) if turn is None else turn, centre)
    bpy.context.collection.objects.link(result)
    return result


def polygon_slab(name, outline, thickness, material):
    """A flat slab with an outline `[n, 2]` in x, z; its front lies at y = 0, its back behind."""
    outline = np.asarray(outline, float)
    n = len(outline)
    front = np.column_stack([outline[:, 0], np.zeros(n), outline[:, 1]])
    faces = [tuple(range(n)), tuple(range(n, 2 * n))]
    faces += [(i, (i + 1) % n, n + (i + 1) % n, n + i) for i in range(n)]
    return mesh(name, np.vstack([front, front + [0, thickness, 0]]), faces, material, smooth=False)


def text(name, string, size, material, *, depth: float = 0.0005):
    """Centred text in Blender's built-in font, facing −y, `size` high, as a mesh."""
    curve = bpy.data.curves.new(name, "FONT")
    curve.body, curve.size, curve.extrude = string, size, depth
    curve.align_x = curve.align_y = "CENTER"
    source = bpy.data.objects.new(name, curve)
    bpy.context.collection.objects.link(source)
    data = bpy.data.meshes.new_from_object(
        source.evaluated_get(bpy.context.evaluated_depsgraph_get())
    )
    bpy.data.objects.remove(source)
    data.materials.clear()
    data.materials.append(material)
    result = bpy.data.objects.new(name, data)
    bpy.context.collection.objects.link(result)
    transform(result, rotation("x", np.pi / 2), (0, 0, 0))
    return result


def leaves(name, roots, directions, lengths, widths, material, *, droop=0.5, fold=0.25, rows=5):
    """Pointed leaves in one mesh: each starts at a root `[n, 3]` and follows its direction.

    `lengths` and `widths` are `[n]`; `droop` bends the tip down, `fold` raises the margins.
    """
    roots, along = np.asarray(roots, float), np.asarray(directions, float)
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, [0, 0, 1.0]) + 1e-6
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    t = np.linspace(0, 1, rows)
    spread = np.sin(np.pi * np.clip(t, 0.02, 0.985)) ** 0.8 * (1.15 - 0.5 * t)
    lengths, widths = (np.broadcast_to(v, len(roots))[:, None, None] for v in (lengths, widths))
    spine = roots[:, None] + along[:, None] * (t[None, :, None] * lengths)
    spine = spine - np.array([0, 0, 1.0]) * (droop * t[None, :, None] ** 2 * lengths)
    offset = side[:, None] * (0.5 * spread[None, :, None] * widths)
    lift = up[:, None] * (fold * 0.5 * spread[None, :, None] * widths)
    vertices = np.stack([spine - offset + lift, spine, spine + offset + lift], 2).reshape(-1, 3)
    one = np.array(grid_faces(rows, 3, wrap=False))
    faces = (one[None] + (np.arange(len(roots)) * rows * 3)[:, None, None]).reshape(-1, 4)
    return mesh(name, vertices, faces, material)


def hair(name, roots, tips, radius, material, *, bend=None):
    """Hair curves from roots `[n, 3]` to tips `[n, 3]`, bowed through the middle by `bend`."""
    roots, tips = np.asarray(roots, float), np.asarray(tips, float)
    middle = (roots + tips) / 2 + (0 if bend is None else bend)
    data = bpy.data.hair_curves.new(name)
    data.add_curves([3] * len(roots))
    points = np.stack([roots, middle, tips], 1).reshape(-1).astype(np.float32)
    data.attributes["position"].data.foreach_set("vector", points)
    thickness = data.attributes.new("radius", "FLOAT", "POINT")
    radii = np.outer(np.broadcast_to(radius, len(roots)), [1.0, 0.8, 0.15])
    thickness.data.foreach_set("value", radii.reshape(-1).astype(np.float32))
    data.materials.append(material)
    result = bpy.data.objects.new(name, data)
    bpy.context.collection.objects.link(result)
    return result


def paint_points(obj, colours) -> None:
    """Store one linear RGB colour per vertex `[n, 3]` as the attribute `paint`."""
    layer = obj.data.color_attributes.new("paint", "FLOAT_COLOR", "POINT")
    rgba = np.column_stack([colours, np.ones(len(colours))]).astype(np.float32)
    layer.data.foreach_set("color", rgba.reshape(-1))


def points_of(obj) -> Points:
    """Vertices of a mesh, or points of hair, `[n, 3]`, in the object's own coordinates."""
    if obj.type == "CURVES":
        layer, key = obj.data.attributes["position"].data, "vector"
    else:
        layer, key = obj.data.vertices, "co"
    flat = np.empty(len(layer) * 3, np.float32)
    layer.foreach_get(key, flat)
    return flat.reshape(-1, 3).astype(float)


def transform(obj, turn, shift) -> None:
    """Rotate an object's own points by `turn [3, 3]`, then move them by `shift [3]`."""
    points = (points_of(obj) @ np.asarray(turn, float).T + np.asarray(shift, float)).astype(
        np.float32
    )
    if obj.type == "CURVES":
        obj.data.attributes["position"].data.foreach_set("vector", points.reshape(-1))
    else:
        obj.data.vertices.foreach_set("co", points.reshape(-1))
        obj.data.update()


def facing_front(obj):
    """Turn a lathe so that its axis runs along y."""
    transform(obj, rotation("x", -np.pi / 2), (0, 0, 0))
    return obj


def rotation(axis: str, angle: float) -> np.ndarray:
    """Rotation matrix `[3, 3]` about x, y or z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array(
        {
            "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }[axis]
    )
