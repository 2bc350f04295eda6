"""Checks a raw answer against botocore's model of the service: nothing unknown, nothing missing, every value of its type."""

import datetime
import xml.etree.ElementTree as ElementTree

import dateutil.parser


class Mismatch(AssertionError):
    pass


def local(tag):
    return tag.rsplit("}", 1)[-1]


def check(operation, status, body):
    """Checks an answer of an operation, success or error."""
    root = ElementTree.fromstring(body)
    service = operation.service_model
    if status >= 300:
        return check_error(service, root)
    if local(root.tag) != f"{operation.name}Response":
        raise Mismatch(f"{operation.name}: root element is {root.tag}")
    expected = service.metadata.get("xmlNamespace", "").rstrip("/")
    # EC2 itself answers with a slash at the end that its model does not have.
    namespace = root.tag.partition("}")[0].lstrip("{").rstrip("/")
    if namespace != expected:
        raise Mismatch(f"{operation.name}: namespace of {root.tag} is not {expected}")
    shape = operation.output_shape
    if service.metadata["protocol"] == "ec2":
        if child(root, "requestId") is None:
            raise Mismatch(f"{operation.name}: no requestId")
        if shape is not None:
            structure(shape, root, operation.name, ignore={"requestId"})
        return None
    metadata = child(root, "ResponseMetadata")
    if metadata is None or not (child(metadata, "RequestId").text or ""):
        raise Mismatch(f"{operation.name}: no ResponseMetadata/RequestId")
    if shape is not None:
        result = child(root, shape.serialization["resultWrapper"])
        if result is None:
            raise Mismatch(f"{operation.name}: no {shape.serialization['resultWrapper']}")
        structure(shape, result, operation.name)
    return None


def check_error(service, root):
    if service.metadata["protocol"] == "ec2":
        parts = [root.find("Errors/Error/Code"), root.find("Errors/Error/Message"), root.find("RequestID")]
        good = root.tag == "Response"
    else:
        error = child(root, "Error")
        parts = [] if error is None else [child(error, name) for name in ("Type", "Code", "Message")]
        parts.append(child(root, "RequestId"))
        good = local(root.tag) == "ErrorResponse" and error is not None
    if not good or any(part is None or not part.text for part in parts):
        raise Mismatch(f"not an error of {service.service_name}: {ElementTree.tostring(root)}")


def child(element, name):
    return next((each for each in element if local(each.tag) == name), None)


def structure(shape, element, path, ignore=frozenset()):
    members = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    seen = set()
    for part in element:
        tag = local(part.tag)
        if tag in ignore:
            continue
        if tag not in members:
            raise Mismatch(f"{path}: unknown element {tag}; {shape.name} knows {sorted(members)}")
        if tag in seen:
            raise Mismatch(f"{path}: {tag} twice")
        seen.add(tag)
        name, member = members[tag]
        value(member, part, f"{path}.{name}")
    present = {members[tag][0] for tag in seen}
    missing = set(shape.required_members) - present
    if missing:
        raise Mismatch(f"{path}: required {sorted(missing)} missing")


def value(shape, element, path):
    kind, text = shape.type_name, element.text or ""
    if kind == "structure":
        return structure(shape, element, path)
    if kind == "list":
        item = shape.member.serialization.get("name", "member")
        for index, part in enumerate(element):
            if local(part.tag) != item:
                raise Mismatch(f"{path}: item is {local(part.tag)}, not {item}")
            value(shape.member, part, f"{path}[{index}]")
        return None
    if len(element):
        raise Mismatch(f"{path}: a {kind} has child elements")
    try:
        if kind in ("integer", "long"):
            int(text)
        elif kind in ("float", "double"):
            float(text)
        elif kind == "boolean" and text not in ("true", "false"):
            raise ValueError(text)
        elif kind == "timestamp":
            parsed = dateutil.parser.isoparse(text)
            if parsed.tzinfo is None or parsed > datetime.datetime.now(parsed.tzinfo) + datetime.timedelta(days=366):
                raise ValueError(text)
        elif kind == "string" and getattr(shape, "enum", None) and text not in shape.enum:
            raise ValueError(text)
    except ValueError as error:
        raise Mismatch(f"{path}: '{text}' is no {kind} of {shape.name}") from error
    return None


def watch(client):
    """Lets every answer that the client gets be checked before it is parsed."""

    def before_parse(operation_model, response_dict, **_):
        check(operation_model, response_dict["status_code"], response_dict["body"])

    client.meta.events.register("before-parse.*.*", before_parse)
    return client
