"""What happens to an instance's pixels: passed untouched, masked, or the instance refused. No I/O of its own.

`facts` holds what is read of the header, `plan` decides by an `adit.model.pixel_policy.PixelPolicy`, `treatment`
does it. Whatever cannot be understood is refused (`quarantine`), never passed.
"""
