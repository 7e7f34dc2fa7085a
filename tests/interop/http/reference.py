"""The REST contract as a FastAPI service would have it, with strict types, as far as statuses and errors go.

It stores nothing. A patch is judged as that of a secret which is bound and a default, which the other side makes first.
"""

import re
from typing import Annotated, Optional
from uuid import UUID

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, StrictBool, StringConstraints, ValidationInfo, field_validator


def location(text):
    """The rules of keyward that the contract's schema does not have."""
    names = text[1:].split("/") if text.startswith("/") else [text]
    if text.startswith("/") and re.search("~(?![01])", text):
        raise ValueError("a malformed JSON Pointer")
    if "-" in names:
        raise ValueError("no existing element")
    return text


def injection_format(text):
    if text.count("{}") != 1:
        raise ValueError("a format has one place")
    return text


Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1024)]
SecretValue = Annotated[str, StringConstraints(strict=True, min_length=4, max_length=1024)]
Location = Annotated[Text, AfterValidator(location)]
Format = Annotated[Text, AfterValidator(injection_format)]


class NewSecret(BaseModel):
    secret_name: Text
    secret_value: SecretValue
    tool_name: Optional[Text] = None
    tool_arg: Optional[Location] = None
    is_default_for_tool: Optional[StrictBool] = None
    format: Optional[Format] = None

    @field_validator("is_default_for_tool")
    @classmethod
    def default_has_a_place(cls, is_default, info: ValidationInfo):
        # A field that is invalid is not in the data. It was given all the same.
        given = [info.data.get(name, "invalid") is not None for name in ("tool_name", "tool_arg")]
        if is_default and not all(given):
            raise ValueError("a default needs a place")
        return is_default


class SecretPatch(BaseModel):
    secret_name: Optional[Text] = None
    secret_value: Optional[SecretValue] = None
    tool_name: Optional[Text] = None
    tool_arg: Optional[Location] = None
    is_default_for_tool: Optional[StrictBool] = None
    format: Optional[Format] = None


app = FastAPI()


def cleared(patch):
    """What a patch takes away from a default, with the errors of keyward."""
    if not isinstance(patch, dict) or not (patch.get("is_default_for_tool") is None or patch["is_default_for_tool"] is True):
        return []
    names = [name for name in ("tool_name", "tool_arg") if name in patch and patch[name] is None]
    return [{"loc": ["body", name], "type": "value_error", "msg": "a default needs this field"} for name in names]


@app.exception_handler(RequestValidationError)
def without_input(request, error):
    """FastAPI's own answer repeats the input, and has only what is wrong with the fields by themselves."""
    errors, fields = list(error.errors()), list(SecretPatch.model_fields)
    if request.method == "PATCH" and all(each["loc"][0] == "body" and each["loc"][-1] in fields for each in errors):
        errors += cleared(error.body)
        errors.sort(key=lambda each: fields.index(each["loc"][-1]))
    return JSONResponse({"detail": [{key: each[key] for key in ("loc", "msg", "type")} for each in errors]}, 422)


@app.post("/api/v1/secrets/")
def new_secret(secret: NewSecret):
    return {}


@app.get("/api/v1/secrets/")
def list_secrets(limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: Optional[UUID] = None):
    return {"data": []}


@app.get("/api/v1/secrets/{secret_id}")
def get_secret_info(secret_id: UUID):
    return {}


@app.patch("/api/v1/secrets/{secret_id}")
def update_secret(secret_id: UUID, patch: SecretPatch = None):
    errors = cleared(patch.model_dump(exclude_unset=True)) if patch else []
    if errors:
        raise RequestValidationError(errors)
    return {}


@app.delete("/api/v1/secrets/{secret_id}")
def delete_secret(secret_id: UUID):
    return None
